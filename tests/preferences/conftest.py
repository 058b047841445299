from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def public_data() -> Path:
    """Folder with `oasst/en_trees_a.jsonl.gz` and `taskmaster/tm4_reward_train.jsonl.gz`."""
    folder = os.environ.get("CHATAPP_TEST_DATA")
    if not folder:
        pytest.skip("CHATAPP_TEST_DATA names no folder with the public files")
    return Path(folder)
