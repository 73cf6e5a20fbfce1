// Light or dark as the reader's system says, until the button is pressed; then every section.

const root = document.documentElement;
const themeButton = document.getElementById("theme");
const system = window.matchMedia("(prefers-color-scheme: dark)");

function setTheme(dark) {
  root.dataset.theme = dark ? "dark" : "light";
  themeButton.setAttribute("aria-pressed", String(dark));
  redrawAll();
}

setTheme(system.matches);
system.addEventListener("change", (event) => setTheme(event.matches));
themeButton.addEventListener("click", () => setTheme(!isDark()));

refill(document.getElementById("dataset"), "Dataset: ", own(values.dataset.line));

document.body.classList.toggle("no-pictures", !Object.keys(thumbs).length);
fill("overview", showOverview);
fill("explorer", showExplorer);
fill("classes", showClasses);
fill("mistakes", showMistakes);
fill("confusion", showConfusion);
fill("bits", showBits);
fill("across", showAcross);
fill("training", showTraining);
fill("experiments", showExperiments);
fill("data", showData);
fill("cost", showCost);
startPredict();
window.mmhashPage = { renderPrediction };

// The section that is being read is marked in the navigation.
const links = new Map([...document.querySelectorAll("nav a")]
  .map((link) => [link.getAttribute("href").slice(1), link]));
const reading = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(entry.target.id).setAttribute("aria-current", "true");
  }
}, { rootMargin: "-20% 0px -75% 0px" });
for (const section of document.querySelectorAll("main > section")) reading.observe(section);
document.body.dataset.state = "ready";
