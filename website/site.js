// Tables that scroll sideways are reached by the keyboard, and named after their section.
document$.subscribe(() => {
  const headings = [...document.querySelectorAll(".md-content :is(h1, h2, h3)")];
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.setAttribute("tabindex", "0");
      else target.removeAttribute("tabindex");
    }
  });
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap")) {
    const section = headings.findLast((heading) => heading.compareDocumentPosition(table) & Node.DOCUMENT_POSITION_FOLLOWING);
    table.setAttribute("role", "group");
    table.setAttribute("aria-label", `Table: ${section.textContent.replace("¶", "")}`);
    observer.observe(table);
  }
});
