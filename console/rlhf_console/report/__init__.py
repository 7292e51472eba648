"""One document about a run or a pipeline: what was done, with what, what came of it, and how to do it again."""
