"""What each of several ranks needs and sends, by arithmetic. Torch-free; formulas: docs/scaling_on_paper.md."""
