"""The headless core: reading, folding, launching and controlling runs. Draws nothing."""
