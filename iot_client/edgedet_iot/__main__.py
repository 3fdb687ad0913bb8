"""``edgedet-iot`` and ``python -m edgedet_iot``; a missing library is told where the package begins."""

from edgedet_iot.cli import main

if __name__ == "__main__":
    main()
