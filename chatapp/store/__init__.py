"""What is kept: one SQLite file of conversations, rankings and a search index. Only this room speaks SQL."""

import sys

# sqlite-utils imports numpy and pandas where they are installed, only to know their types. Nothing here
# stores such values, and every command that opens the database would wait for the two.
_hidden = [name for name in ("numpy", "pandas") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_hidden))  # type: ignore[arg-type]
try:
    import sqlite_utils  # noqa: F401
finally:
    for _name in _hidden:
        del sys.modules[_name]
