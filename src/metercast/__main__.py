"""`python -m metercast` is `metercast`."""

from metercast.cli.main import main

if __name__ == "__main__":
    main()
