"""The screens. They show what `runs` has read, twice a second, and read no files themselves."""
