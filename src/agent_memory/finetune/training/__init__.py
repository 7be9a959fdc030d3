"""Training a model on a data set, and finding out what it is worth beside its base."""
