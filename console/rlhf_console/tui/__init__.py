"""The full-screen console. Renders messages; reads no files itself."""
