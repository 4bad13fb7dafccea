"""`python -m cllm` is `cllm`."""

import sys

from cllm.cli import main

if __name__ == "__main__":
    sys.exit(main())
