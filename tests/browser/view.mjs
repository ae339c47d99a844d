// Drives the page of a product: node view.mjs ADDRESS LON LAT DAY FOLDER. Prints what it saw as JSON.
import { chromium } from 'playwright-core';

const [address, lon, lat, day, folder] = process.argv.slice(2);
const seen = { errors: [], foreign: [] };
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
});
const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
page.on('pageerror', (error) => seen.errors.push(error.message));
page.on('console', (line) => {
  if (['error', 'warning'].includes(line.type())) seen.errors.push(line.text());
});
page.on('requestfailed', (request) => seen.errors.push(`failed: ${request.url()}`));
page.on('request', (request) => {
  const { protocol, hostname } = new URL(request.url());
  if (/^(http|ws)/.test(protocol) && hostname !== 'localhost') seen.foreign.push(request.url());
});

const model = (name, part) =>
  page.evaluate(([name, part]) => {
    const { data } = Bokeh.documents[0].get_model_by_name(name);
    return part in data ? Array.from(data[part], (v) => (v?.length ? Array.from(v) : v)) : null;
  }, [name, part]);
const waitFor = (test, argument) => page.waitForFunction(test, argument, { timeout: 30000 });
// A map is there when its image has come and the figure is painted.
const mapThere = () =>
  waitFor(() => {
    const doc = globalThis.Bokeh?.documents?.[0];
    const image = doc?.get_model_by_name('map_image')?.data?.image;
    if (!image?.length || !doc.is_idle) return false;
    const view = Bokeh.index.get_by_id(doc.get_model_by_name('map').id);
    return !!view?.frame?.bbox && view.has_finished();
  });
const seriesThere = (at) =>
  waitFor((at) => {
    const { title, visible } = Bokeh.documents[0].get_model_by_name('series_figure');
    return visible && title.text.includes(at);
  }, at);

let begin = Date.now();
await page.goto(address, { waitUntil: 'domcontentloaded' });
await mapThere();
seen.firstMap = Date.now() - begin;
await page.waitForTimeout(500); // the map is fitted to the window once more

// Pick a day by keyboard.
begin = Date.now();
await page.getByLabel('Day, UTC').fill(day);
await page.getByLabel('Day, UTC').press('Enter');
await page.locator('h2', { hasText: day }).waitFor();
seen.otherDay = Date.now() - begin;
seen.heading = await page.locator('h2').first().innerText();
seen.image = (await model('map_image', 'image'))[0];

// The slider, by its arrow key: the day after.
await page.getByRole('slider').focus();
await page.keyboard.press('ArrowRight');
await waitFor((day) => Bokeh.documents[0].get_model_by_name('day').value !== day, day);
seen.slidTo = await page.getByLabel('Day, UTC').inputValue();
await page.getByRole('button', { name: 'Day before' }).click();
await waitFor((day) => Bokeh.documents[0].get_model_by_name('day').value === day, day);

// Click the map at a place.
const spot = await page.evaluate(([lon, lat]) => {
  const figure = Bokeh.documents[0].get_model_by_name('map');
  const { el, frame } = Bokeh.index.get_by_id(figure.id);
  const { left, top } = el.getBoundingClientRect();
  return [left + frame.x_scale.compute(lon), top + frame.y_scale.compute(lat)];
}, [Number(lon), Number(lat)]);
begin = Date.now();
await page.mouse.click(...spot);
await seriesThere('°');
seen.series = Date.now() - begin;
seen.days = {};
for (const part of ['time', 'ssm', 'lower', 'upper']) seen.days[part] = await model('series', part);
seen.pixel = [(await model('place_mark', 'lon'))[0], (await model('place_mark', 'lat'))[0]];
await page.screenshot({ path: `${folder}/wide.png`, fullPage: true });

// What is shown, as files.
seen.files = {};
for (const link of await page.locator('a[download]').all()) {
  const answer = await page.request.get(new URL(await link.getAttribute('href'), address).href);
  seen.files[await link.innerText()] = [answer.status(), (await answer.body()).length];
}

// Another layer by keyboard alone: Tab from the day's field on, and type its first letter.
await page.getByLabel('Day, UTC').focus();
seen.focused = [];
for (let n = 0; n < 12; n++) {
  await page.keyboard.press('Tab');
  seen.focused.push(await page.evaluate(() => {
    let at = document.activeElement;
    while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
    const label = at.getRootNode().querySelector?.(`label[for="${at.id}"]`);
    return label?.innerText || at.innerText || at.getAttribute('aria-label') || at.className;
  }));
}
await page.getByLabel('Layer').selectOption({ label: 'Quality' });
await page.getByText('frozen or under snow').waitFor();

// A place that is typed, on a telephone's width.
await page.setViewportSize({ width: 400, height: 800 });
await mapThere();
// While the page is laid out for its new width, on a busy machine, it may miss what is typed: each
// time another latitude, for the same one again is no change.
const refused = page.getByText('lie outside the product');
for (let tries = 0; tries < 5 && !(await refused.isVisible()); tries++) {
  await page.getByLabel('Latitude').fill(String(tries / 4));
  await page.getByLabel('Latitude').press('Enter');
  await refused.waitFor({ timeout: 12000 }).catch(() => {});
}
await refused.waitFor({ timeout: 1000 });
await page.getByLabel('Latitude').fill(lat);
await page.getByLabel('Longitude').fill(lon);
await page.getByLabel('Longitude').press('Enter');
await page.waitForTimeout(1000);
seen.wider = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
await page.screenshot({ path: `${folder}/narrow.png`, fullPage: true });
console.log(JSON.stringify(seen));
await browser.close();
