#!/usr/bin/env python3
"""Make the course's environment from nothing but Python, then learn, test, or serve the site in it.

    python3 residual_lab/bootstrap.py learn | test | site | …    (USAGE has them all)

This file must parse on any Python 3 so that an old one can be told what is missing; what follows the version check
(`environment.py`, `testing.py`) needs 3.11 and only the standard library.
"""

import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST = (3, 11)
NEWER_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")
USAGE = """사용법: python3 residual_lab/bootstrap.py <명령>

  learn          환경을 만들고 JupyterLab(한국어)으로 코스 지도를 엽니다
  test           CI와 똑같이 모든 시험을 돌립니다
  site           사이트를 만들어 이 컴퓨터에서 엽니다
  bench          랩의 빠르기를 잽니다
  bench-grading  채점의 빠르기를 nbval, nbgrader와 견줍니다
  bench-gpu      큰 설정을 GPU에서 학습해 논문의 수와 견줍니다(오래 걸립니다)
  setup          학습 환경만 만듭니다
  pages          사이트를 만들기만 합니다
  links          사이트의 바깥 링크를 모두 확인합니다
  spell          한국어 낱말을 사전에서 찾아봅니다(hunspell-ko가 있어야 합니다)
  colab          Colab과 같은 판에서 랩을 시험합니다
  wheel          설치할 수 있는 파일(휠)을 dist에 만듭니다"""


def say(text, stream=None):
    """Print Korean even where Python thinks that the terminal cannot (an old one in the C locale)."""
    stream = stream or sys.stdout
    try:
        text.encode(stream.encoding or "ascii")
        stream.write(text + "\n")
    except UnicodeEncodeError:
        stream.flush()
        stream.buffer.write((text + "\n").encode("utf-8"))
    stream.flush()


def newer_python():
    """Another installed Python that is new enough, or None."""
    for name in NEWER_PYTHONS:
        path = shutil.which(name)
        # pyenv's shims exist for versions that do not run, so ask.
        if path and subprocess.call([path, "-c", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
            return path
    return None


def main(arguments, version=sys.version_info, find_newer=newer_python):
    if tuple(version[:2]) < OLDEST:
        path = find_newer()
        if path:
            return subprocess.call([path, os.path.abspath(__file__)] + arguments)
        found = "%d.%d" % tuple(version[:2])
        say("Python 3.11 이상이 필요합니다. 지금 실행한 Python은 %s입니다." % found, sys.stderr)
        say("  https://www.python.org/downloads/ 에서 설치하거나, Debian·Ubuntu에서는 'sudo apt install python3.12 python3.12-venv',"
            " macOS에서는 'brew install python@3.12'를 실행하십시오.", sys.stderr)
        say("  이미 설치했다면 그 Python을 지정하십시오: make learn PYTHON=python3.12", sys.stderr)
        return 1

    # Run as a script, Python looks for modules in this folder first; the package itself must be found from its parent.
    sys.path[:] = [ROOT] + [path for path in sys.path if os.path.abspath(path or ".") != os.path.join(ROOT, "residual_lab")]
    from residual_lab import environment

    return environment.main(arguments, USAGE)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        say("\n중단했습니다. 같은 명령을 다시 실행하면 이어서 합니다.", sys.stderr)
        sys.exit(130)
