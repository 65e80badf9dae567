PYTHON ?= python3

.PHONY: learn test site bench bench-grading bench-gpu setup pages links spell colab wheel

learn test site bench bench-grading bench-gpu setup pages links spell colab wheel:
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	  echo "'$(PYTHON)' 명령이 없습니다. Python 3.11 이상을 설치한 뒤 다시 실행하십시오." >&2; \
	  echo "  다른 이름으로 설치했다면: make $@ PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" residual_lab/bootstrap.py $@
