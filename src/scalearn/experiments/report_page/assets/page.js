// Theme, list of runs, and what the address says is shown.
function startTheme() {
  const button = document.getElementById("theme"), root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => { try { return localStorage.getItem("scalearn-theme"); } catch { return null; } };
  const remember = (theme) => { try { localStorage.setItem("scalearn-theme", theme); } catch { /* opened where nothing may be kept */ } };
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  const tell = () => button.setAttribute("aria-pressed", String(isDark()));
  if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; remember(root.dataset.theme); tell(); });
  system.addEventListener("change", tell);
  tell();
}

function startRuns() {
  const search = document.getElementById("runs-find"), state = document.getElementById("runs-state");
  const count = document.getElementById("runs-count"), rows = findAll("#runs-table tbody tr");
  const said = (text) => text.toLowerCase().replace(/seed\s+/g, "seed");
  const texts = new Map(rows.map((row) => [row, said(`${findAll(".name", row).map((cell) => cell.textContent).join(" ")} seed ${row.dataset.seed}`)]));
  function show() {
    const words = said(search.value).split(/\s+/).filter(Boolean);
    rows.forEach((row) => {
      row.hidden = (state.value !== "" && row.dataset.state !== state.value) || !words.every((word) => texts.get(row).includes(word));
    });
    const left = rows.filter((row) => !row.hidden).length;
    count.textContent = left === rows.length ? `${left} runs` : `${left} of ${rows.length} runs`;
  }
  search.addEventListener("input", show);
  state.addEventListener("change", show);
  show();
}

// #run/ID shows a run; all else is the report, where the reader left it.
function startRoutes() {
  const report = document.getElementById("report"), article = document.getElementById("run");
  const title = document.title;
  let place = 0;
  addEventListener("scroll", () => { if (!report.hidden) place = scrollY; }, { passive: true });
  function show(event) {
    document.getElementById("card").hidePopover();
    hideHint();
    const wanted = location.hash.startsWith("#run/") ? decodeURIComponent(location.hash.slice(5)) : null;
    const run = wanted === null ? undefined : data.runs.find((one) => one.id === wanted);
    const left = place;
    const wasRun = report.hidden;
    report.hidden = wanted !== null;
    article.hidden = wanted === null;
    document.title = run ? `${run.title} · scalearn` : title;
    if (wanted !== null) {
      article.replaceChildren(...(run ? runView(run) : [element("a", { class: "back", href: "#runs" }, "← All results"),
        element("h1", { id: "run-title", tabindex: -1 }, `No run ${wanted} in this experiment`)]));
      scrollTo({ top: 0, behavior: "instant" });
      find("h1", article).focus({ preventScroll: true });
      place = left;
    } else if (event && wasRun) {
      article.replaceChildren();
      const target = location.hash.length > 1 && location.hash !== "#runs" ? document.getElementById(location.hash.slice(1)) : null;
      if (target) target.scrollIntoView({ behavior: "instant" });
      else scrollTo({ top: left, behavior: "instant" });
      document.getElementById("main").focus({ preventScroll: true });
    }
  }
  addEventListener("hashchange", show);
  show();
}

startTheme();
findAll("table.sortable").forEach(sortable);
startRanks();
startScores();
startCoefficients();
startSources();
startRuns();
startRoutes();
