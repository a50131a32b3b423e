// The page in a notebook's frame; what is set there is the trait `given`.

function render({ model, el }) {
  const frame = document.createElement("iframe");
  // Scripts run, but as a page of nobody's: it cannot reach the notebook.
  frame.setAttribute("sandbox", "allow-scripts");
  frame.srcdoc = model.get("page");
  frame.style.cssText = "width: 100%; height: 720px; border: 0;";
  let shown = null;
  const changed = () => {
    const given = model.get("given");
    if (shown !== null && JSON.stringify(given) !== shown) {
      frame.contentWindow.postMessage({ chainrule: { set: given } }, "*");
    }
  };
  const heard = ({ source, data }) => {
    if (source !== frame.contentWindow || !data?.chainrule?.given) return;
    const isFirst = shown === null;
    shown = JSON.stringify(data.chainrule.given);
    if (isFirst) {
      changed(); // what Python has set before the page was there
      return;
    }
    model.set("given", data.chainrule.given);
    model.save_changes();
  };
  window.addEventListener("message", heard);
  model.on("change:given", changed);
  el.append(frame);
  return () => {
    window.removeEventListener("message", heard);
    model.off("change:given", changed);
  };
}

export default { render };
