// Tables are sorted by a heading; rows without a value stay last in either direction.
function sortable(table) {
  const headings = findAll("thead th", table);
  const body = find("tbody", table);
  headings.forEach((heading, column) => {
    const button = find("button", heading);
    if (button) button.addEventListener("click", () => sortBy(column));
  });
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return (cell.dataset.sort ?? cell.textContent).trim();
  };

  function sortBy(column) {
    const heading = headings[column];
    const numeric = heading.classList.contains("number");
    const before = heading.getAttribute("aria-sort");
    const downwards = before === "none" ? numeric : before === "ascending";
    headings.forEach((other) => { if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none"); });
    heading.setAttribute("aria-sort", downwards ? "descending" : "ascending");
    const compare = (first, second) => {
      const [a, b] = [valueOf(first, column), valueOf(second, column)];
      if (!a || !b) return !a - !b;
      const order = numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
      return downwards ? -order : order;
    };
    body.append(...[...body.rows].sort(compare));
  }
}
