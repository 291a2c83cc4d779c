"""What sources and sinks share.

backoff   how long to wait before another try
url       the options behind the ? of a source or sink
mqtt      a broker's address, its keys, and a connection that says why it failed
"""
