// The box sends what it shows; this puts it there, and says when nothing comes any more.
const view = document.getElementById("view");
const at = document.getElementById("at");
const live = document.getElementById("live");
let heard = Date.now();

const source = new EventSource("/events");
source.addEventListener("view", (event) => {
  heard = Date.now();
  const lists = () => view.querySelectorAll(".scroll");
  const where = [...lists()].map((list) => list.scrollTop);
  view.innerHTML = event.data;
  lists().forEach((list, i) => { list.scrollTop = where[i] ?? 0; });
});
source.addEventListener("at", (event) => {
  heard = Date.now();
  at.textContent = event.data;
});

setInterval(() => {
  const seconds = Math.round((Date.now() - heard) / 1000);
  const still = seconds > 3;
  document.body.classList.toggle("still", still);
  live.classList.add("live");
  live.textContent = still ? `nothing heard from the box for ${seconds} s` : "live";
}, 500);
