"""Takes one of the two arguments that are ours to give."""


def main(sbi_id=None):
    return sbi_id
