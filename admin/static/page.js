// Makes the pages live. All that they can do works without it.
"use strict";
(() => {
	const pace = 5000; // milliseconds between two questions
	const dialog = document.getElementById("dialog");
	const said = document.getElementById("said");
	const find = (selector, within = document) => [...within.querySelectorAll(selector)];
	document.documentElement.classList.add("js");

	// --- Time. The server's clock is what counts; the browser's only says how much has passed since.
	let at = 0;
	let since = 0;
	const now = () => at + performance.now() - since;
	function setClock(body) {
		if (!body.dataset.at) return;
		at = Date.parse(body.dataset.at);
		since = performance.now();
	}

	function span(ms) {
		const s = Math.floor(Math.abs(ms) / 1000);
		const two = (n, unit, m, rest) => (m ? `${n} ${unit} ${m} ${rest}` : `${n} ${unit}`);
		if (s < 60) return `${s} s`;
		if (s < 3600) return `${Math.floor(s / 60)} min`;
		if (s < 86400) return two(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
		if (s < 10 * 86400) return two(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
		return `${Math.floor(s / 86400)} d`;
	}

	function ago(ms) {
		if (Math.abs(ms) < 1000) return "now";
		return ms > 0 ? `in ${span(ms)}` : `${span(ms)} ago`;
	}

	function tellTimes() {
		for (const time of find("time[data-rel]")) {
			const text = ago(Date.parse(time.dateTime) - now());
			if (time.textContent !== text) time.textContent = text;
		}
	}

	// What only the browser knows: the zone of whoever reads.
	const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
	const face = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
	const hour = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
	function tellZone() {
		for (const li of find(".slots li")) {
			if (zone === "UTC" || zone === li.parentElement.dataset.zone) continue; // it is there already
			li.querySelector(".yours").textContent = "yours: " + face.format(new Date(li.querySelector("time").dateTime));
		}
		for (const tick of find("[data-tick]")) tick.textContent = hour.format(new Date(tick.dataset.tick));
		for (const name of find("#tick-zone")) name.textContent = zone;
	}

	// --- Changing what is shown into what the server says now, and leaving alone what is the same: focus, open details
	// and the pointer stay where they are.
	function morph(from, to) {
		if (from.isEqualNode(to)) return;
		if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName || (from.id || "") !== (to.id || "")) {
			from.replaceWith(to);
			return;
		}
		if (from.nodeType !== Node.ELEMENT_NODE) {
			from.data = to.data;
			return;
		}
		const kept = (name) => (name === "open" && from.nodeName === "DETAILS") || name === "tabindex";
		for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && !kept(name)) from.removeAttribute(name);
		for (const { name, value } of [...to.attributes]) if (from.getAttribute(name) !== value && !kept(name)) from.setAttribute(name, value);
		const wanted = new Set([...to.children].map((child) => child.id).filter(Boolean));
		const same = (a, b) => a.nodeName === b.nodeName && (a.id || "") === (b.id || "");
		let place = from.firstChild;
		for (const next of [...to.childNodes]) {
			let match = place;
			while (match && !same(match, next)) match = match.nextSibling;
			if (!match && next.id) match = [...from.children].find((child) => same(child, next));
			if (!match) {
				from.insertBefore(next, place);
				continue;
			}
			// What lies between is gone, unless it comes later. Nothing that stays is moved without need: that takes the focus from it.
			while (place && place !== match && !wanted.has(place.id)) {
				const gone = place;
				place = place.nextSibling;
				gone.remove();
			}
			if (match === place) place = place.nextSibling;
			else from.insertBefore(match, place);
			morph(match, next);
		}
		while (place) {
			const gone = place;
			place = place.nextSibling;
			gone.remove();
		}
	}

	const rowsOf = (page) => find("tbody tr", page).map((row) => row.id).join("\n");

	function show(page) {
		setClock(page.body);
		document.body.dataset.poll = page.body.dataset.poll || "";
		for (const region of find("[data-live]")) {
			const fresh = page.getElementById(region.id);
			if (fresh) morph(region, fresh);
		}
		dress();
	}

	function dress() {
		tellTimes();
		tellZone();
		markMany();
		const marks = find(".timeline [role=img]");
		if (marks.length && !marks.some((mark) => mark.getAttribute("tabindex") === "0")) {
			for (const mark of marks) mark.setAttribute("tabindex", "-1");
			marks[0].setAttribute("tabindex", "0");
		}
		for (const mark of marks) if (!mark.hasAttribute("tabindex")) mark.setAttribute("tabindex", "-1");
	}

	// --- Talking to the server.
	const stranger = "the answer is not from here; are you still logged in?"; // a guard of the host's has answered
	const reason = (error) => (error instanceof TypeError ? "the server cannot be reached" : error.message);
	async function ask(url, options = {}) {
		const answer = await fetch(url, { ...options, headers: { Accept: "text/html" } });
		const page = new DOMParser().parseFromString(await answer.text(), "text/html");
		if (!page.getElementById("dialog")) throw new Error(stranger);
		return { answer, page };
	}

	async function json(answer) {
		if (!answer.headers.get("Content-Type")?.includes("json")) throw new Error(stranger);
		return answer.json();
	}

	let turn = 0; // an answer is shown only if nothing was asked since
	let pending = null; // a page whose rows are in another order, for when the pointer has left them
	async function refresh({ moveRows = false } = {}) {
		const own = ++turn;
		const { answer, page } = await ask(location.href);
		if (!answer.ok) throw new Error(page.querySelector("main .error").textContent);
		if (own !== turn) return;
		const table = document.querySelector("tbody:hover");
		if (table && !moveRows && rowsOf(page) !== rowsOf(document)) {
			pending = page;
			return;
		}
		pending = null;
		show(page);
	}
	document.addEventListener("pointerout", (event) => {
		if (pending && event.target.closest?.("tbody") && !event.relatedTarget?.closest?.("tbody")) {
			const page = pending;
			pending = null;
			show(page);
		}
	});

	const tags = new Map(); // of what was answered last, by URL
	async function changed(url) {
		const answer = await fetch(url, { cache: "no-store", headers: tags.has(url) ? { "If-None-Match": tags.get(url) } : {} });
		if (answer.status === 304) return false;
		if (!answer.ok) throw new Error((await json(answer)).detail);
		await json(answer);
		tags.set(url, answer.headers.get("ETag"));
		return true;
	}

	let health = "";
	async function healthChanged() {
		const answer = await fetch(document.body.dataset.health, { cache: "no-store" });
		const { fleet, problems, detail } = await json(answer);
		if (!fleet) throw new Error(detail || problems.at(-1).detail);
		const time = document.querySelector("#health time[data-rel]");
		if (time && fleet.newestTickAt) time.dateTime = fleet.newestTickAt;
		const before = health;
		health = JSON.stringify([fleet.workers, fleet.overdue, problems.map((problem) => problem.code), !fleet.newestTickAt]);
		return before !== "" && before !== health;
	}

	const paused = () => document.hidden || dialog.open || document.activeElement?.closest("tbody tr");
	let good = performance.now(); // when the server answered last
	let trouble = "";
	let polling = false;
	async function poll() {
		if (polling || paused() || !document.body.dataset.at) return;
		polling = true;
		try {
			const urls = document.body.dataset.poll.split(" ").filter(Boolean);
			const answers = await Promise.all([...urls.map(changed), healthChanged()]);
			if (answers.some(Boolean) || trouble) await refresh();
			good = performance.now();
			trouble = "";
		} catch (error) {
			trouble = reason(error);
		}
		polling = false;
		tellTrouble();
	}

	function tellTrouble() {
		const stale = document.querySelector(".stale");
		if (!stale) return;
		stale.hidden = !trouble;
		const text = trouble && `Could not load: ${trouble}. What you see is ${span(performance.now() - good)} old.`;
		if (stale.textContent !== text) stale.textContent = text;
	}

	// --- Dialogs: the pages that ask first, shown on top of the one they were asked from.
	function showDialog(page, base) {
		const section = page.querySelector("[data-ask]");
		if (!section) return false; // it leads back to a page
		for (const form of find("form", section)) form.action = new URL(form.getAttribute("action"), base);
		for (const link of find("a", section)) link.href = new URL(link.getAttribute("href"), base);
		dialog.replaceChildren(section);
		if (!dialog.open) dialog.showModal();
		(section.querySelector("textarea") || section.querySelector(".primary") || section.querySelector("a")).focus();
		return true;
	}

	function tellFailure(form, error) {
		const text = `That did not get through (${reason(error)}). Whether it was done is not known; to ask again is safe.`;
		let alert = form.querySelector("[role=alert]");
		if (!alert) {
			alert = document.createElement("p");
			alert.className = "error";
			alert.setAttribute("role", "alert");
			form.prepend(alert);
		}
		alert.textContent = text;
	}

	// What a switch does is heard, too; a dialog says it by itself.
	function tellDone(button) {
		const name = button?.querySelector(".vh")?.textContent;
		if (name && !dialog.open) said.textContent = `${name} is ${button.getAttribute("aria-checked") === "true" ? "enabled" : "disabled"}.`;
	}

	let busy = null; // what was asked for and is not answered yet: a second click asks for nothing more
	async function submit(form, button) {
		if (busy) return;
		const own = {};
		busy = own;
		const action = new URL(button?.getAttribute("formaction") || form.getAttribute("action"), location.href);
		const fields = new URLSearchParams(new FormData(form));
		try {
			if (form.method !== "post") {
				action.search = fields;
				const { answer, page } = await ask(action);
				showDialog(page, answer.url);
				return;
			}
			const { answer, page } = await ask(action, { method: "POST", body: fields });
			if (showDialog(page, answer.url)) busy = null; // whoever closes it goes on, though the page behind it is still read
			else if (dialog.open) dialog.close();
			await refresh({ moveRows: true });
			tags.clear();
			tellDone(button);
		} catch (error) {
			if (form.closest("dialog")) tellFailure(form, error);
			else {
				trouble = reason(error);
				tellTrouble();
			}
		} finally {
			if (busy === own) busy = null;
		}
	}

	document.addEventListener("submit", (event) => {
		const form = event.target;
		if (!form.hasAttribute("data-dialog") && form.method !== "post") return;
		event.preventDefault();
		submit(form, event.submitter);
	});
	document.addEventListener("click", (event) => {
		if (dialog.open && event.target.closest("dialog [data-close]")) {
			event.preventDefault();
			dialog.close();
		}
	});
	dialog.addEventListener("close", () => {
		dialog.replaceChildren();
		poll();
	});

	// --- Search as one types.
	const search = document.getElementById("search");
	let typing = 0;
	search?.addEventListener("input", () => {
		clearTimeout(typing);
		typing = setTimeout(async () => {
			const url = new URL(search.form.getAttribute("action"), location.href);
			for (const [name, value] of new FormData(search.form)) if (value) url.searchParams.set(name, value);
			const own = ++turn;
			try {
				const { answer, page } = await ask(url);
				if (!answer.ok || own !== turn) return;
				history.replaceState(null, "", url);
				show(page);
			} catch {
				search.form.submit();
			}
		}, 250);
	});

	// --- Several schedules at once.
	function markMany() {
		const form = document.getElementById("many");
		if (!form) return;
		const count = find("input[form=many]:checked").length;
		form.classList.toggle("some", count > 0);
		document.getElementById("selected").textContent = `With the ${count} selected:`;
	}
	document.addEventListener("change", (event) => {
		if (event.target.matches("input[form=many]")) markMany();
	});

	// --- The timeline: one stop for the Tab key, and the arrows from mark to mark.
	function say(mark) {
		const lane = mark.closest("li");
		document.getElementById("mark-says").textContent = `${lane.querySelector(".lane").textContent}: ${mark.querySelector("title").textContent}`;
	}
	const left = (mark) => mark.getBoundingClientRect().left;
	document.addEventListener("focusin", (event) => {
		const mark = event.target.closest?.(".timeline [role=img]");
		if (mark) say(mark);
	});
	document.addEventListener("pointerover", (event) => {
		const mark = event.target.closest?.(".timeline [role=img]");
		if (mark) say(mark);
	});
	document.addEventListener("keydown", (event) => {
		const mark = event.target.closest?.(".timeline [role=img]");
		if (!mark) return;
		const inLane = (lane) => find("[role=img]", lane).sort((a, b) => left(a) - left(b));
		const own = inLane(mark.closest("li"));
		const nearest = (step) => {
			let lane = mark.closest("li");
			do lane = lane && lane[step];
			while (lane && !inLane(lane).length);
			return lane && inLane(lane).reduce((best, other) => (Math.abs(left(other) - left(mark)) < Math.abs(left(best) - left(mark)) ? other : best));
		};
		const next = {
			ArrowRight: () => own[own.indexOf(mark) + 1],
			ArrowLeft: () => own[own.indexOf(mark) - 1],
			ArrowDown: () => nearest("nextElementSibling"),
			ArrowUp: () => nearest("previousElementSibling"),
			Home: () => own[0],
			End: () => own[own.length - 1],
		}[event.key];
		if (!next) return;
		event.preventDefault();
		const to = next();
		if (!to) return;
		mark.setAttribute("tabindex", "-1");
		to.setAttribute("tabindex", "0");
		to.focus();
	});

	setClock(document.body);
	dress();
	setInterval(() => {
		if (document.hidden) return;
		tellTimes();
		if (trouble) tellTrouble();
	}, 1000);
	setInterval(poll, pace);
	document.addEventListener("visibilitychange", poll);
})();
