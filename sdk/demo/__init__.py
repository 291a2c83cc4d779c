"""The main job on what the package carries: a pretrained bundle and a short recording of people it never saw."""
