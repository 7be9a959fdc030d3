"""Training a model on a data set, and finding out what it is worth beside its base."""

from __future__ import annotations

import os

# Before any library is imported that would tell somebody, or that starts threads.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
