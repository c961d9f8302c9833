"""`prunekit demo`: a page to play with, of a run that was trained beforehand and comes with the package."""
