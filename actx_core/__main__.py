"""``python -m actx_core`` is ``actx``."""

from actx_core.cli import main

main()
