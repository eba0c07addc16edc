"""`python -m monitor` is `levmon`."""

from monitor.cli import main

main()
