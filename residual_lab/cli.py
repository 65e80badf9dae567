"""``residual-lab``: one command for learners, writers and instructors. Each subcommand imports its work only when it runs."""

from __future__ import annotations

import argparse
import importlib
import sys

COMMANDS = {
    "learn": "residual_lab.learn",
    "notebooks": "residual_lab.notebooks.cli",
    "record": "residual_lab.lab.recording",
    "site": "residual_lab.site",
    "progress": "residual_lab.learned",
    "grade": "residual_lab.grading.cli",
    "doctor": "residual_lab.doctor",
}
"""Subcommand and the module whose ``run(arguments) -> int`` does it."""


class KoreanFormatter(argparse.HelpFormatter):
    def add_usage(self, usage, actions, groups, prefix=None):
        super().add_usage(usage, actions, groups, "사용법: " if prefix is None else prefix)


class KoreanParser(argparse.ArgumentParser):
    """argparse with its own words in Korean."""

    def __init__(self, **options) -> None:
        super().__init__(**options, formatter_class=KoreanFormatter, add_help=False)
        self._positionals.title, self._optionals.title = "인자", "옵션"
        self.add_argument("-h", "--help", action="help", help="이 도움말을 보입니다")

    def error(self, message: str):
        self.print_usage(sys.stderr)
        self.exit(2, f"명령을 이해하지 못했습니다({message}). '{self.prog} --help'를 보십시오.\n")


def parser(wanted: str | None = None) -> argparse.ArgumentParser:
    top = KoreanParser(prog="residual-lab", description="잔차 연결 실험실의 명령입니다.")
    commands = top.add_subparsers(dest="command", required=True, metavar="명령", title="명령")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text + ".")

    learn = command("learn", "JupyterLab(한국어)을 코스 지도에서 엽니다")
    learn.add_argument("--no-browser", action="store_true", help="브라우저를 열지 않고 주소만 보입니다")
    learn.add_argument("--port", type=int, default=8888, help="포트(쓰이고 있으면 그다음 빈 포트, 기본 8888)")

    notebooks = command("notebooks", "원본 텍스트를 실행해 노트북과 연습 문제를 만듭니다")
    notebooks.add_argument("names", nargs="*", metavar="이름", help="레슨이나 풀이의 이름(예: 01_degradation). 없으면 모두")
    instead = notebooks.add_mutually_exclusive_group()
    instead.add_argument("--check", action="store_true", help="만들지 않고, 원본과 다른 것을 알려 줍니다")
    instead.add_argument("--times", action="store_true", help="만들지 않고, 실행에 드는 CPU 시간을 재어 적습니다")

    record = command("record", "실험의 격자를 학습해 사이트가 쓸 기록을 만듭니다")
    record.add_argument("ids", nargs="*", metavar="실험", help="실험의 이름(예: mlp_depth). 없으면 모두")
    record.add_argument("--check", action="store_true", help="학습하지 않고, 코드와 다른 기록을 알려 줍니다")

    site = command("site", "사이트를 만들어 이 컴퓨터에서 엽니다")
    site.add_argument("--build-only", action="store_true", help="만들기만 하고 열지 않습니다")
    site.add_argument("--port", type=int, default=8000, help="사이트를 열 포트(기본 8000)")

    progress = command("progress", "예측과 퀴즈, 과제를 어디까지 했는지 보입니다")
    progress.add_argument("--export", dest="export_to", metavar="파일", help="기록을 파일로 내보냅니다(웹사이트의 코스 지도에서 가져올 수 있습니다)")
    progress.add_argument("--import", dest="import_from", metavar="파일", help="웹사이트나 다른 컴퓨터에서 내보낸 기록을 더합니다")

    grade = command("grade", "연습을 채점합니다")
    if wanted == "grade":
        importlib.import_module(COMMANDS["grade"]).add_arguments(grade)

    command("doctor", "설치를 검사하고 고칠 방법을 알려 줍니다")
    return top


def main(arguments: list[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a redirected Windows console cannot write every sign
    arguments = sys.argv[1:] if arguments is None else arguments
    chosen = parser(next(iter(arguments), None)).parse_args(arguments)
    try:
        return importlib.import_module(COMMANDS[chosen.command]).run(chosen)
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] == "residual_lab":
            raise
        print(f"이 명령에 필요한 패키지가 없습니다: {error.name}\n"
              '저장소 폴더에서 다음을 실행하십시오: pip install -c constraints.txt -e ".[learner,test,site,cluster]"', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\n중단했습니다.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
