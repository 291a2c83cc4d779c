"""Processes of our own: started so that nothing of the user's folder reaches them, and ended with us.

child    how one is started, what it answers, how it ended     Child
parent   the other end: messages to who started us, and our end with theirs
signals  our own end when somebody asks for it
"""
