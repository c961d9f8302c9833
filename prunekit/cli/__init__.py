"""The command line: a verb a file, with its options, one call of the library, and its printing."""
