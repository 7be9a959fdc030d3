"""From the journal to a model of one's own. The data set, training, evaluation, GGUF; each step with its gates."""
