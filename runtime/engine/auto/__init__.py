"""The engine "auto": the fastest of those that are here, measured once on this device.

choice    look up, measure, keep; open what was chosen
measure   candidates in turn, until it is clear who is faster
faster    which of two is faster, and how sure that is
trial     the measuring in a process of its own, which may die
device    what the choice depends on: processor, versions
"""
