"""Where the program lies, the package `src`, and that it is the one which is imported."""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
# `src` and `conf`
CODE_ROOT = _HERE / "_code" if (_HERE / "_code").is_dir() else _HERE.parent

if str(CODE_ROOT) not in sys.path:
    # before all others: a folder called src is in many places
    sys.path.insert(0, str(CODE_ROOT))
if Path(getattr(sys.modules.get("src"), "__file__", None) or CODE_ROOT / "src" / "_").parent != (
    CODE_ROOT / "src"
):
    raise ImportError(
        f"palimpsest needs the package {CODE_ROOT / 'src'}, and another one called src is imported "
        f"already, from {sys.modules['src'].__file__}"
    )
