"""The tests, in the rooms of the house. A package, so that they find each other's helpers."""
