"""`python -m statekeep_cli` is `statekeep`."""

import sys

from statekeep_cli.cli import main

sys.exit(main())
