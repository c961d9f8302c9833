"""The science, without models, disks or screens: what is kept, what is dropped, and where the rest restarts."""
