"""`python -m roundel …` is the command `roundel …`."""

import sys

from roundel._cli import main

sys.exit(main())
