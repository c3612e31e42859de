"""`python -m fastcore`, the same as the command `fastcore`."""

import sys

from fastcore.cli import main

sys.exit(main())
