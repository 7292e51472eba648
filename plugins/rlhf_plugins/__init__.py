"""The built-in trainers, registered through the same entry points as anyone's."""
