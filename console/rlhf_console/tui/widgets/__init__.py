"""Widgets that send to the terminal only the cells that changed."""
