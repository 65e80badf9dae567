"""Run pip with a line in Korean every few seconds, and explain in Korean why it failed (standard library only)."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import NamedTuple

from residual_lab.bootstrap import say

EVERY = 10.0
"""Seconds between two lines about a long step."""


class Result(NamedTuple):
    code: int
    output: str


def run(command: list[str], log: Path) -> Result:
    """Run it to its end, saying every few seconds what it is at; all its output also goes to ``log``."""
    start, lines, step = time.monotonic(), [], "시작합니다"
    environment = {**os.environ, "PYTHONUTF8": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    finished = threading.Event()

    def tell() -> None:
        while not finished.wait(EVERY):
            say(f"  {time.monotonic() - start:4.0f}초  {step}")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        with log.open("w", encoding="utf-8") as file, subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
                text=True, encoding="utf-8", errors="replace") as process:
            for line in process.stdout:
                file.write(line)
                lines.append(line)
                step = describe(line) or step
    finally:
        finished.set()
        teller.join()
    return Result(process.returncode, "".join(lines))


def describe(line: str) -> str | None:
    """What pip's line says is being done, in Korean; None for a line of no interest."""
    if found := re.match(r"\s*(?:Obtaining|Collecting) (?:file:\S*/)?([\w.-]+)", line):
        return f"필요한 패키지를 찾습니다: {found[1]}"
    if found := re.match(r"\s*Downloading \S*?([\w.]+)-\d\S*(?: \(([^)]+)\))?", line):
        return f"내려받습니다: {found[1]}" + (f"({found[2]})" if found[2] else "")
    if line.startswith("Installing collected packages:"):
        return f"패키지 {line.count(',') + 1}개를 설치합니다"
    if "Retrying (" in line:
        return "연결이 되지 않아 다시 시도합니다"
    return None


REASONS = (
    (r"No space left on device|Errno 28|WinError 112",
     "디스크가 가득 찼습니다. 자리를 비우고 다시 실행하십시오."),
    (r"CERTIFICATE_VERIFY_FAILED|SSLError",
     "패키지 저장소의 인증서를 확인하지 못했습니다. 회사·학교의 보안 프록시 안이라면 그 인증서를 pip에 알려야 합니다"
     "(환경 변수 PIP_CERT). 컴퓨터의 날짜도 확인하십시오."),
    (r"Retrying \(|Max retries|NewConnectionError|NameResolutionError|Temporary failure in name resolution|"
     r"ConnectTimeout|ReadTimeout|ProxyError|Network is unreachable|Connection reset",
     "패키지 저장소에 연결하지 못했습니다. 인터넷 연결을 확인하고 다시 실행하십시오. 프록시를 쓴다면 환경 변수 HTTPS_PROXY를, "
     "사내 저장소를 쓴다면 PIP_INDEX_URL을 지정하십시오."),
    (r"No matching distribution found for torch==\S*\+cpu",
     "GPU가 없는 컴퓨터에 알맞은 CPU용 torch를 찾지 못했습니다. 인터넷 연결을 확인하고 다시 실행하십시오.\n"
     "일반 torch(CUDA 포함, 수 GB를 내려받음)라도 괜찮다면: RESIDUAL_LAB_TORCH=default make learn"),
    (r"No matching distribution found for (\S+)",
     "이 컴퓨터의 Python에 맞는 패키지가 저장소에 없습니다. Python 3.11–3.14(64비트)인지 확인하십시오. macOS는 Apple 칩에서만 됩니다."),
    (r"Permission denied|Errno 13|WinError 5|Read-only file system",
     "파일을 쓸 권한이 없습니다. 쓰기 권한이 있는 곳에 저장소를 두거나, 환경 변수 RESIDUAL_LAB_VENV에 쓸 수 있는 폴더를 지정하십시오."),
    (r"ResolutionImpossible|conflicting dependencies",
     "패키지 판이 서로 맞지 않습니다. constraints.txt를 고쳤다면 되돌리십시오."),
)


def explain(output: str) -> str:
    """The Korean reason and remedy for a failed run of pip, with pip's own last words."""
    lines = output.strip().splitlines()
    last = [line for line in lines if "ERROR" in line][-3:] or lines[-1:]
    reason = next((text for pattern, text in REASONS if re.search(pattern, output)), "패키지를 설치하지 못했습니다.")
    return "\n".join([reason, *("  pip: " + line.strip() for line in last)])
