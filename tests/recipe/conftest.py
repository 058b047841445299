"""Makes the recipe's files importable."""

from __future__ import annotations

import sys
from pathlib import Path

DEFAULT = Path(__file__).parents[2] / "models" / "default"
RECIPE = DEFAULT / "recipe"
if str(RECIPE) not in sys.path:
    sys.path.append(str(RECIPE))
