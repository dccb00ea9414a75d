"""The one exception type that means 'you can mend this': shown without a traceback on the command line."""


class UserError(ValueError):
    """Bad input, missing data or an unusable directory; the message names the thing, its value and the way out."""
