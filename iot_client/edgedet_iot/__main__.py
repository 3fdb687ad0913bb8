"""``python -m edgedet_iot``."""

from edgedet_iot.cli import main

if __name__ == "__main__":
    main()
