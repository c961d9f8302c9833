"""Many experiments: a grid, the jobs it comes to, the engines that do them, the table of what they found."""
