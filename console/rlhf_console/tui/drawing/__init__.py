"""What stands on the screen, as pure functions: figures and text in, rows of cells out. Knows no terminal."""
