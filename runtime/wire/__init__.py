"""What sources and sinks share.

url    the options behind the ? of a source or sink
mqtt   a broker's address, its keys, and a connection that says why it failed
"""
