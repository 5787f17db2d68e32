// Two codings of one picture under a divider: range input, mouse, touch; zoom with scrolling.

function startComparer(panels) {
  const get = (id) => document.getElementById(id);
  const [picture, leftSide, rightSide] = ["compare-picture", "compare-left", "compare-right"].map(get);
  const [stage, scroller, layers, divider, slider] = ["stage", "scroller", "layers", "divider", "slider"].map(get);
  let zoom = 1;

  const panel = () => panels[picture.value];
  const fill = (select, names, chosen) => {
    select.replaceChildren(...names.map((text, index) => make("option", { value: index }, text)));
    select.value = Math.min(chosen, names.length - 1);
  };

  const caption = (side, other) => {
    const figures = [side.size.toLocaleString("en"), " bytes, ", side.bpp.toFixed(3), " bpp"].join("");
    const distance = side.psnr === null ? "lossless" : `PSNR ${side.psnr.toFixed(2)} dB`;
    const share = 100 * (side.size / other.size - 1);
    const words = Math.abs(share) < 0.05 ? "as many bytes as the other" : `${Math.abs(share).toFixed(1)} % ${share > 0 ? "more" : "fewer"} bytes than the other`;
    return [make("strong", {}, side.codec), ...[figures, distance, words].map((line) => make("span", {}, line))];
  };

  const show = (which, side, other) => {
    const image = get(`${which}-image`);
    image.src = side.data;
    image.alt = `${panel().picture}, ${side.codec}`;
    get(`${which}-caption`).replaceChildren(...caption(side, other));
  };

  const sides = () => {
    const [left, right] = [panel().sides[leftSide.value], panel().sides[rightSide.value]];
    show("left", left, right);
    show("right", right, left);
  };

  // The divider stands over the visible part; the left image is cut where that is in the whole picture.
  const cut = () => {
    const share = slider.value / 100;
    divider.style.left = `${share * scroller.clientWidth}px`;
    divider.style.height = `${scroller.clientHeight}px`;
    const at = scroller.scrollLeft + share * scroller.clientWidth;
    get("left-image").style.clipPath = `inset(0 ${Math.max(0, layers.clientWidth - at)}px 0 0)`;
    slider.setAttribute("aria-valuetext", `${Math.round(100 * share)} % left`);
  };

  const size = () => {
    const room = stage.parentElement.clientWidth;
    const base = Math.min(panel().width, room);
    layers.style.width = `${base * zoom}px`;
    layers.style.aspectRatio = `${panel().width} / ${panel().height}`;
    layers.classList.toggle("large", zoom > 1);
    for (const element of [stage, slider, slider.nextElementSibling]) element.style.width = `${Math.max(Math.min(base * zoom, room), Math.min(320, room))}px`;
    stage.style.width = `${Math.min(base * zoom, room)}px`;
    cut();
  };

  const choose = () => {
    const names = panel().sides.map((side) => side.codec);
    fill(leftSide, names, Number(leftSide.value || 1));
    fill(rightSide, names, Number(rightSide.value || 2));
    sides();
    size();
  };

  const buttons = [1, 2, 4].map((factor) => {
    const button = make("button", { type: "button", "aria-pressed": factor === 1 }, `${factor}×`);
    button.addEventListener("click", () => {
      const middle = (scroller.scrollLeft + scroller.clientWidth / 2) / layers.clientWidth;
      const level = (scroller.scrollTop + scroller.clientHeight / 2) / layers.clientHeight;
      zoom = factor;
      for (const one of buttons) one.setAttribute("aria-pressed", one === button);
      size();
      scroller.scrollLeft = middle * layers.clientWidth - scroller.clientWidth / 2;
      scroller.scrollTop = level * layers.clientHeight - scroller.clientHeight / 2;
      cut();
    });
    return button;
  });
  get("zoom").append(...buttons);

  const drag = (event) => {
    const box = scroller.getBoundingClientRect();
    slider.value = (100 * (event.clientX - box.left)) / scroller.clientWidth;
    cut();
  };
  for (const handle of [divider, layers]) {
    handle.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || (handle === layers && zoom > 1)) return;
      handle.setPointerCapture(event.pointerId);
      drag(event);
    });
    handle.addEventListener("pointermove", (event) => handle.hasPointerCapture(event.pointerId) && drag(event));
  }
  slider.addEventListener("input", cut);
  scroller.addEventListener("scroll", cut);
  picture.addEventListener("change", choose);
  leftSide.addEventListener("change", sides);
  rightSide.addEventListener("change", sides);
  new ResizeObserver(size).observe(stage.parentElement);
  fill(picture, panels.map((one) => one.picture), 0);
  choose();
}
