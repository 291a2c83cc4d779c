"""Reading and writing files with care.

atomic        writes that a power cut cannot tear; reads that no pipe and no terabyte holds up; one holder at a time
strict_json   JSON with every key once and finite numbers
npz           NumPy's archives, without pickle
cache         the folders for what can be made again, and for what cannot
sealed        files that this device wrote, and no others
"""
