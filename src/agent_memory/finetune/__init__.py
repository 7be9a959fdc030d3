"""From the journal to a model of one's own. So far: the data set, and the gates in front of it."""
