// Rows of a table from what a server sent: always text, whatever it holds.

// A cell is { text, href, title, className, code }; what stays the same is not touched, so that
// a selection and the focus outlive the next snapshot.
export function fillRow(row, cells) {
  while (row.cells.length > cells.length) row.lastElementChild.remove();
  cells.forEach((cell, index) => {
    const place = row.cells[index] ?? newCell(row);
    if (place.className !== (cell.className ?? "")) place.className = cell.className ?? "";
    if (place.title !== (cell.title ?? "")) place.title = cell.title ?? "";
    const holder = cell.code ? codeIn(place) : cell.href ? linkIn(place, cell.href) : textIn(place);
    if (holder.textContent !== cell.text) holder.textContent = cell.text;
  });
  return row;
}

function newCell(row) {
  const cell = row.insertCell();
  cell.setAttribute("role", "cell");
  return cell;
}

function linkIn(place, href) {
  let link = place.firstElementChild;
  if (!link) {
    link = document.createElement("a");
    place.replaceChildren(link);
  }
  if (link.getAttribute("href") !== href) link.setAttribute("href", href);
  return link;
}

function codeIn(place) {
  if (!place.firstElementChild) place.replaceChildren(document.createElement("code"));
  return place.firstElementChild;
}

function textIn(place) {
  if (place.firstElementChild) place.replaceChildren();
  return place;
}

export function newRow(cells) {
  const row = document.createElement("tr");
  row.setAttribute("role", "row");
  return fillRow(row, cells);
}

// Shows `items` in a table's body, each by `toCells`; `empty` is there for none.
export function fillRows(body, empty, items, toCells) {
  while (body.rows.length > items.length) body.lastElementChild.remove();
  items.forEach((item, index) => {
    const cells = toCells(item);
    if (body.rows[index]) fillRow(body.rows[index], cells);
    else body.append(newRow(cells));
  });
  empty.hidden = items.length > 0;
  body.parentElement.hidden = !items.length;
}

// The page of an object, of a URL that is made for object 0; "" without one.
export const pageOf = (url, id) => url.replace("/0/", `/${id}/`);
