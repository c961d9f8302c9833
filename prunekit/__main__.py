"""`python -m prunekit`."""

from prunekit.cli.main import main

main()
