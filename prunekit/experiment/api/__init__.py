"""What `import prunekit` offers that needs a run's settings: a function or class a file."""
